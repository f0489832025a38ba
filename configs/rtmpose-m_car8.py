# RTMPose-m for the 8 keypoints of car8 in 'data/coco'. Emitted by `posetools config`.
# It runs with the stock tools/train.py and tools/test.py of mmpose; posetools is not needed.
# It lists only what differs from the stock recipe, with the reason:
_base_ = 'mmpose::body_2d_keypoint/rtmpose/coco/rtmpose-m_8xb256-420e_coco-256x192.py'

# data ---------------------------------------------------------------------------------------------
data_root = 'data/coco'  # relative to the folder in which you start training
# The skeleton car8; `swap` is the keypoint's name in a mirrored image.
metainfo = dict(
    dataset_name='car8',
    keypoint_info={
        0: dict(id=0, name='left-front-bumper', swap='right-front-bumper', type='', color=[0, 0, 255]),
        1: dict(id=1, name='left-rear-bumper', swap='right-rear-bumper', type='', color=[255, 0, 0]),
        2: dict(id=2, name='left-front-tire', swap='right-front-tire', type='', color=[255, 100, 0]),
        3: dict(id=3, name='left-rear-tire', swap='right-rear-tire', type='', color=[0, 255, 0]),
        4: dict(id=4, name='right-front-bumper', swap='left-front-bumper', type='', color=[0, 255, 255]),
        5: dict(id=5, name='right-rear-bumper', swap='left-rear-bumper', type='', color=[193, 182, 255]),
        6: dict(id=6, name='right-front-tire', swap='left-front-tire', type='', color=[193, 100, 255]),
        7: dict(id=7, name='right-rear-tire', swap='left-rear-tire', type='', color=[16, 144, 247]),
    },
    skeleton_info={
        0: dict(id=0, link=('left-front-bumper', 'left-rear-bumper'), color=[100, 150, 200]),
        1: dict(id=1, link=('left-front-tire', 'left-rear-tire'), color=[200, 100, 150]),
        2: dict(id=2, link=('right-front-bumper', 'right-rear-bumper'), color=[150, 120, 100]),
        3: dict(id=3, link=('right-front-tire', 'right-rear-tire'), color=[150, 120, 0]),
    },
    joint_weights=[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
    sigmas=[0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05])

# schedule -----------------------------------------------------------------------------------------
max_epochs = 12  # the rest of the schedule depends on it: 12 objects, each seen 600 times; 50 iterations each
repeat = 50  # passes over the data per epoch: one pass over 12 objects is 1 of 600 iterations
stage2_num_epochs = max_epochs  # 12: light augmentation in all epochs
val_interval = 1  # epochs: a tenth of all, at most 10
batch_size = 12  # on one device: there are 12 objects
val_batch_size = 12  # as in training, at most 64
num_workers = 8  # processes per loader; use more if cores are free
persistent_workers = num_workers > 0  # torch requires workers for this
# Adam's rate scales with the square root of the batch (Malladi et al., On the SDEs and Scaling Rules for
# Adaptive Gradient Algorithms, 2022).
# Stock is for batches of 1024; times sqrt(12/1024), at least 0.0005.
base_lr = max(0.0005, 0.004 * (batch_size / 1024)**0.5)  # 0.0005
# Stock always warms up for 1000 iterations; on a small data set that is most of the run.
iterations = max_epochs * -(-12 * repeat // batch_size)  # 600: 12 objects per epoch, 50 times
warmup_iters = min(1000, max(2, iterations // 10))  # 60: a tenth of 600 iterations
# The average of about 30 iterations; there are 600.
ema_momentum = min(0.1, max(0.0002, 20 / iterations))  # 0.033

train_cfg = dict(max_epochs=max_epochs, val_interval=val_interval)
optim_wrapper = dict(optimizer=dict(lr=base_lr))
# `--auto-scale-lr` (several GPUs) scales from this batch size.
auto_scale_lr = dict(base_batch_size=batch_size)
param_scheduler = [
    dict(type='LinearLR', start_factor=1.0e-5, by_epoch=False, begin=0, end=warmup_iters),
    dict(  # constant in the first half, then down to a twentieth
        type='CosineAnnealingLR', eta_min=base_lr * 0.05, by_epoch=True, convert_to_iter_based=True,
        begin=max_epochs // 2, end=max_epochs, T_max=max_epochs - max_epochs // 2)
]
default_hooks = dict(checkpoint=dict(
    max_keep_ckpts=2,  # a run killed while saving still has the previous one
    interval=val_interval, save_best='coco/AP', rule='greater'))  # every saved checkpoint is evaluated

# input and target ---------------------------------------------------------------------------------
# Stock is 192 x 256, for upright people.
# Boxes with margin are 124 px long (median) and 1.8 times as wide as high.
input_size = (128, 96)  # width, height; multiples of 32
codec = dict(
    type='SimCCLabel',
    input_size=input_size,
    sigma=(7.11, 5.33),  # side / 18: a wide target is learned sooner, which a short run needs
    simcc_split_ratio=1.0,  # bins per pixel: stock has 2; fewer are learned sooner in a short run
    normalize=False,
    use_dark=False)

# model --------------------------------------------------------------------------------------------
model = dict(
    # Evaluates as `posetools eval` and `posetools predict` do: without the average over the mirrored crop, which
    # takes twice the time in stock.
    test_cfg=dict(flip_test=False),
    backbone=dict(
        # SyncBN cannot run on the CPU in several processes; in a single process mmengine changes it to BN.
        norm_cfg=dict(type='BN')),
    head=dict(
        out_channels=8,
        input_size=input_size,
        in_featuremap_size=(input_size[0] // 32, input_size[1] // 32),
        simcc_split_ratio=codec['simcc_split_ratio'],
        decoder=codec))

# pipelines ----------------------------------------------------------------------------------------
# Changes to stock:
# - No RandomHalfBody: it cuts people at the waist and needs upper and lower keypoints, at least 9.
# - Rotation up to 15 degrees (stock: 80, then 60): 12 objects of similar shape are too few to measure their
#   rotation.
# - No Albumentations: it installs a second OpenCV, and its arguments differ between versions.
#   Its CoarseDropout and its blur are dropped.
# Light augmentation from the first epoch: 600 iterations are too few for cutout and large scale changes.
# Boxes are shifted and scaled, as the detector's boxes are not exact either.
train_pipeline_stage2 = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomBBoxTransform', shift_factor=0.1, shift_prob=0.5, scale_factor=[0.75, 1.25], rotate_factor=15),
    dict(type='TopdownAffine', input_size=input_size),
    dict(type='mmdet.YOLOXHSVRandomAug'),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs')
]
val_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=input_size),
    dict(type='PackPoseInputs')
]

# loaders and evaluation ---------------------------------------------------------------------------
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=persistent_workers,
    dataset=dict(
        _delete_=True,
        type='RepeatDataset',
        times=repeat,
        dataset=dict(
            type='CocoDataset',
            data_root=data_root,
            metainfo=metainfo,
            ann_file='train_coco.json',
            data_prefix=dict(img='images/'),
            data_mode='topdown',
            pipeline=train_pipeline_stage2,
        )
    ))
# Evaluated on the labeled boxes: no bbox_file.
val_dataloader = dict(
    batch_size=val_batch_size,
    num_workers=num_workers,
    persistent_workers=persistent_workers,
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='val_coco.json',
        data_prefix=dict(img='images/'),
        pipeline=val_pipeline,
    ))
test_dataloader = val_dataloader

# All epochs use one pipeline: no PipelineSwitchHook.
custom_hooks = [
    # Stock has gamma 2000: in a short run the average would stay near the initial weights.
    dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=ema_momentum,
         gamma=min(2000, max(1, iterations // 10)), update_buffers=True, priority=49),
]

# OKS divides by the area in the file, so it must be the area of the box (`posetools validate`, E104).
val_evaluator = dict(ann_file=f'{data_root}/val_coco.json', use_area=True)
test_evaluator = val_evaluator
